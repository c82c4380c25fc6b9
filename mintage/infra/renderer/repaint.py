"""A picture is repainted: the stronger, the less is left of it and the more there is of the prompt's own scene."""

import msgspec
import numpy as np
from PIL import Image, ImageChops, ImageFilter, ImageOps

from mintage.infra.renderer import canvas as c
from mintage.infra.renderer.brief import read
from mintage.infra.renderer.canvas import Canvas, Field
from mintage.infra.renderer.painting import SIDE_MAX, SIDE_MIN, ImageRequest, accept, chance_of, painted
from mintage.infra.renderer.palette import Colour, Palette, mix, palette_for, scaled
from mintage.infra.renderer.styles import TECHNIQUES
from mintage.infra.renderer.styles.cartoon import INK
from mintage.infra.renderer.styles.cyberpunk import NEON, VOID
from mintage.infra.renderer.styles.watercolor import PAPER

STYLE_UNASKED = "oil-painting"
"""What is repainted shows its brush unless it was asked not to."""


def size_for(source: tuple[int, int], width: int | None, height: int | None) -> tuple[int, int]:
    """The size asked for; a side that was not asked for follows the source's shape, within the renderer's bounds."""
    across, down = source
    if width is None and height is None:
        fit = min(1.0, SIDE_MAX / max(source))
        width, height = round(across * fit), round(down * fit)
    elif width is None:
        assert height is not None
        width = round(across * height / down)
    elif height is None:
        height = round(down * width / across)
    return min(max(width, SIDE_MIN), SIDE_MAX), min(max(height or 0, SIDE_MIN), SIDE_MAX)


def repainted(request: ImageRequest, source: Image.Image, strength: float) -> Image.Image:
    """The source itself at strength 0, hardly anything of it at 1; what does not fit the size's shape is cut off.

    Raises ``RenderingFailed``.
    """
    accept(request)
    picture = ImageOps.fit(source, (request.width, request.height), Image.Resampling.LANCZOS)
    if strength <= 0.0:
        return picture
    style = request.style or STYLE_UNASKED
    chance = chance_of(request.prompt, request.seed, request.index)
    palette = palette_for(read(request.prompt, request.negative_prompt, chance), chance)
    canvas = Canvas(request.width, request.height, palette, chance, cutout=False)
    canvas.image = _RESTYLED[style](canvas, _graded(picture, palette))
    restyled = TECHNIQUES[style].finish(canvas)
    whole = _merged(restyled, _scene(request, style), _busyness(picture))
    return _mixed(picture, restyled, whole, strength)


def _scene(request: ImageRequest, style: str) -> Image.Image:
    """Another composition than text alone would get, so that a picture can be repainted with its own words."""
    return painted(msgspec.structs.replace(request, style=style, transparent=False, index=~request.index))


def _mixed(picture: Image.Image, restyled: Image.Image, whole: Image.Image, strength: float) -> Image.Image:
    """First the hand changes, then what it paints."""
    hand, matter = _eased(strength / 0.65), _eased((strength - 0.45) / 0.55)
    return Image.blend(Image.blend(picture, restyled, hand), whole, matter)


def _eased(share: float) -> float:
    share = min(max(share, 0.0), 1.0)
    return share * share * (3 - 2 * share)


def _merged(restyled: Image.Image, scene: Image.Image, busyness: Image.Image) -> Image.Image:
    """The scene takes the calm parts; what the picture is about stands in it, in the scene's own paint."""
    forms = Image.blend(ImageChops.soft_light(scene, restyled), restyled, 0.6)
    return Image.composite(forms, scene, busyness)


def _busyness(picture: Image.Image) -> Image.Image:
    """Where a picture's detail and strong colour gather, which is most likely what it is about."""
    unit = min(picture.size)
    rough = ImageChops.difference(picture, c.blurred(picture, unit * 0.10))
    red, green, blue = rough.split()
    field = np.asarray(c.blurred(ImageChops.lighter(ImageChops.lighter(red, green), blue), unit * 0.035), np.float32)
    y, x = np.mgrid[-1 : 1 : field.shape[0] * 1j, -1 : 1 : field.shape[1] * 1j]
    field = field * (1.0 - 0.6 * np.clip(x * x * 0.7 + y * y * 0.5, 0, 1))
    low, high = np.quantile(field, (0.70, 0.88))
    return c.to_mask((field - low) / max(high - low, 1.0) * 0.85, picture.size)


def _graded(picture: Image.Image, palette: Palette) -> Image.Image:
    """In the light of the prompt: half of each colour is the picture's own, half is the palette's for its shade."""
    dark, bright = scaled(palette.near, 0.30), mix(palette.horizon, (1, 1, 1), 0.35)
    shades = (dark, mix(palette.near, palette.land, 0.6), palette.middle, bright)
    grey = ImageOps.autocontrast(picture.convert("L"), cutoff=1)
    return Image.blend(picture, _mapped(grey, *shades), 0.5)


def _mapped(grey: Image.Image, *shades: Colour) -> Image.Image:
    places = np.linspace(0, 255, len(shades))
    ramps = [np.interp(np.arange(256), places, [shade[part] * 255 for shade in shades]) for part in range(3)]
    return Image.merge("RGB", [grey.point(ramp.round().astype(int).tolist()) for ramp in ramps])


def _edges(picture: Image.Image, radius: float, gain: float) -> Image.Image:
    """The lines between the picture's forms, as wide as the radius."""
    grey = c.blurred(picture.convert("L"), radius)
    across, down = np.gradient(np.asarray(grey, np.float32))
    return c.to_mask(np.clip(np.hypot(across, down) * gain * radius / 255 - 0.12, 0, 1), picture.size)


def _soft(picture: Image.Image, unit: float, share: float) -> Image.Image:
    """Small things gone, large ones still sharp."""
    coarse = max(int(unit * share / 3), 1)
    small = picture.reduce(coarse) if coarse > 1 else picture
    small = small.filter(ImageFilter.MedianFilter(5)).filter(ImageFilter.MedianFilter(5))
    return small.resize(picture.size, Image.Resampling.BICUBIC)


def _as_it_is(_canvas: Canvas, image: Image.Image) -> Image.Image:
    return image


def _comic(canvas: Canvas, image: Image.Image) -> Image.Image:
    flat = _soft(_soft(image, canvas.unit, 0.014), canvas.unit, 0.014)
    hue, colour, value = flat.convert("HSV").split()
    tones = value.point([round(round(v / 255 * 6) / 6 * 255) for v in range(256)])
    flat = Image.merge("HSV", (hue, colour.point([min(int(v * 1.3), 255) for v in range(256)]), tones)).convert("RGB")
    lines = _edges(_soft(image, canvas.unit, 0.006), max(canvas.unit * 0.0026, 1.0), 7.0)
    return Image.composite(Image.new("RGB", image.size, c.ink(INK)), flat, lines)


def _washed(canvas: Canvas, image: Image.Image) -> Image.Image:
    wet = _soft(image, canvas.unit, 0.010)
    pools = c.to_mask(0.10 + 0.55 * canvas.noise, image.size)
    thin = Image.composite(Image.new("RGB", image.size, c.ink(PAPER)), wet, pools)
    rims = _edges(wet, max(canvas.unit * 0.003, 1.0), 5.0).point([int(v * 0.45) for v in range(256)])
    return Image.composite(ImageChops.multiply(wet, wet), thin, rims)


def _molten(canvas: Canvas, image: Image.Image) -> Image.Image:
    """Forms swell towards the light as if cast in plastic."""
    body = _soft(image, canvas.unit, 0.016)
    swell: Field = c.relief(body.convert("L"), max(canvas.unit * 0.012, 1.0))
    light = c.to_mask(0.5 + 0.30 * swell, image.size)
    return ImageChops.overlay(body, Image.merge("RGB", (light, light, light)))


def _neon(canvas: Canvas, image: Image.Image) -> Image.Image:
    grey = ImageOps.autocontrast(image.convert("L"), cutoff=1)
    night = _mapped(grey, VOID, scaled(NEON[2], 0.35), scaled(NEON[0], 0.65), mix(NEON[0], (1, 1, 1), 0.35))
    night = Image.blend(night, ImageChops.multiply(image, night), 0.35)
    lines = _edges(image, max(canvas.unit * 0.0022, 1.0), 7.0)
    return Image.composite(Image.new("RGB", image.size, c.ink(NEON[1])), night, lines)


_RESTYLED = {
    "realistic": _as_it_is,
    "cartoon": _comic,
    "oil-painting": _as_it_is,
    "3d-render": _molten,
    "watercolor": _washed,
    "cyberpunk": _neon,
}
