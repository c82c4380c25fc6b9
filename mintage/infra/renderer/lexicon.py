"""Words of a prompt, Chinese or English, become the same tags in the order they are written."""

import re

WORDS: dict[str, str] = {
    # time of day
    "dawn": "dawn sunrise morning daybreak 黎明 清晨 早晨 日出 晨光 朝霞 拂晓",
    "noon": "noon day daytime daylight midday sunny sunlight 白天 中午 正午 阳光 晴天 晴朗",
    "sunset": "sunset dusk evening twilight sundown golden-hour 日落 黄昏 傍晚 夕阳 晚霞 落日 余晖",
    "night": "night midnight nighttime nocturnal dark neon cyberpunk 夜晚 夜色 夜景 夜空 夜里 深夜 夜 黑暗",
    # weather and season
    "clouds": "cloud cloudy clouds overcast 云朵 白云 多云 云海 乌云 云",
    "rain": "rain rainy raining storm drizzle 下雨 雨天 暴雨 细雨 雨",
    "snow": "snow snowy snowing winter blizzard christmas 下雪 雪景 雪花 冬天 冬季 圣诞 雪",
    "fog": "fog foggy mist misty haze 雾气 薄雾 云雾 雾",
    "autumn": "autumn fall maple 秋天 秋季 枫叶 秋",
    "spring": "spring blossom cherry sakura 春天 樱花 桃花 春",
    "rainbow": "rainbow 彩虹",
    # the sky
    "sun": "sun 太阳 烈日",
    "moon": "moon moonlight moonlit 月亮 月光 明月 圆月 月球 月夜 满月",
    "stars": "star starry starlight milky constellation 星星 星空 繁星 银河 星光",
    # settings
    "landscape": (
        "landscape scenery nature valley countryside meadow hill field grassland 风景 自然 山谷 乡村 "
        "草原 田野 山水 草地"
    ),
    "mountains": "mountain peak alps cliff himalaya 高山 雪山 群山 山峰 山脉 山",
    "forest": "forest woods jungle woodland 森林 树林 丛林 竹林",
    "garden": "garden park backyard lawn 花园 公园 庭院 院子 花海",
    "sea": (
        "sea ocean beach lake river coast wave shore island water harbor seascape 大海 海洋 海边 海滩 "
        "沙滩 湖 河 江 海浪 岛 海 水面"
    ),
    "city": (
        "city town skyline street urban downtown skyscraper metropolis tokyo york shanghai paris "
        "building buildings tower 城市 都市 街道 高楼 大厦 建筑 上海 北京 东京 霓虹 赛博"
    ),
    "desert": "desert dune sahara sand 沙漠 沙丘 戈壁",
    "space": "space galaxy universe cosmos planet nebula astronaut alien 宇宙 太空 星系 行星 星云 星球 宇航员",
    "still": "still table vase interior room kitchen 静物 桌子 室内 房间 厨房 桌上",
    "abstract": (
        "abstract pattern texture geometric background wallpaper logo icon shape 抽象 图案 纹理 几何 "
        "背景 壁纸 标志 图标"
    ),
    # things
    "cat": "cat kitten kitty feline 小猫 猫咪 猫",
    "dog": "dog puppy doggy corgi husky 小狗 狗狗 犬 狗 柯基",
    "rabbit": "rabbit bunny hare 兔子 小兔 兔",
    "bear": "bear teddy 小熊 熊",
    "panda": "panda 熊猫",
    "fox": "fox 狐狸 狐",
    "bird": "bird parrot owl eagle sparrow pigeon 小鸟 鸟儿 飞鸟 鸟 鹦鹉 猫头鹰 老鹰",
    "fish": "fish goldfish 鱼儿 金鱼 鱼",
    "butterfly": "butterfly 蝴蝶",
    "person": (
        "person portrait girl boy woman man lady face princess child people human model 女孩 男孩 "
        "人物 肖像 少女 女人 男人 人像 美女 公主 孩子 少年 女性 男性 老人"
    ),
    "robot": "robot android mecha cyborg droid 机器人 机甲 机械",
    "house": "house cottage cabin home hut villa 房子 小屋 木屋 房屋 别墅 家",
    "castle": "castle palace fortress 城堡 宫殿",
    "boat": "boat ship sailboat yacht sail 帆船 小船 轮船 船",
    "car": "car vehicle automobile truck taxi 汽车 跑车 轿车 车",
    "rocket": "rocket spaceship spacecraft shuttle 火箭 飞船 飞碟",
    "balloon": "balloon 热气球 气球",
    "tree": "tree oak pine 大树 树木 松树 树",
    "flowers": (
        "flower rose tulip lily sunflower bouquet floral lavender daisy 鲜花 花朵 玫瑰 向日葵 郁金香 薰衣草 花"
    ),
    "cup": "cup coffee tea mug latte 咖啡 茶杯 杯子 茶",
    "ball": "ball football basketball 皮球 毛线球 足球 篮球 小球",
    "fruit": "apple fruit orange lemon peach 苹果 水果 橙子 桃子",
    # colours
    "red": "red crimson scarlet 红色 红",
    "orange": "amber 橙色",
    "gold": "gold golden yellow 金色 黄色 金",
    "green": "green emerald 绿色 绿",
    "cyan": "cyan turquoise teal 青色",
    "blue": "blue azure navy 蓝色 蓝",
    "purple": "purple violet lilac 紫色 紫",
    "pink": "pink 粉色 粉红",
    "white": "white 白色",
    "black": "black 黑色",
}

_ENGLISH = {w: tag for tag, words in WORDS.items() for w in words.split() if w.isascii()}
_CHINESE = {w: tag for tag, words in WORDS.items() for w in words.split() if not w.isascii()}
_TOKEN = re.compile(
    r"[a-z]+|" + "|".join(sorted(map(re.escape, _CHINESE), key=len, reverse=True)),
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"(?:\b(?:no|without|sans)\s+(?:any\s+)?([a-z]+))|(?:(?:没有|不要|无)([\u4e00-\u9fff]{1,3}))", re.IGNORECASE
)


def tags(text: str) -> tuple[str, ...]:
    """In order of appearance, each once; longer words win over the shorter ones inside them."""
    found = (_tag(match.group().lower()) for match in _TOKEN.finditer(text))
    return tuple(dict.fromkeys(tag for tag in found if tag))


def refused(text: str) -> frozenset[str]:
    """What the prompt itself says it does not want: "no clouds", 没有云."""
    return frozenset(tag for a, b in _REFUSAL.findall(text) for tag in tags(a or b))


def _tag(word: str) -> str | None:
    if word in _CHINESE:
        return _CHINESE[word]
    singulars = (
        word,
        word.removesuffix("s"),
        word.removesuffix("es"),
        word[:-3] + "y" if word.endswith("ies") else word,
    )
    return next((_ENGLISH[w] for w in singulars if w in _ENGLISH), None)
