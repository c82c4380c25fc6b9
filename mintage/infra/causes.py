"""Why a task fails: a code for programs, and a sentence of our own for people, whatever a provider said."""

from typing import Final, TypeAlias

from mintage.application.providers import Blame

Cause: TypeAlias = tuple[str, str]

FAILED: Final = "GENERATION_FAILED", "生成失败，未扣除积分"
ABANDONED: Final = "ABANDONED", "多次尝试后仍未完成"
SOURCE_UNAVAILABLE: Final = "SOURCE_UNAVAILABLE", "无法获取源图片，未扣除积分"
SOURCE_REFUSED: Final = "SOURCE_REFUSED", "源图片地址或内容不被接受，未扣除积分"
CONTENT_REFUSED: Final = "CONTENT_REFUSED", "内容不符合服务商的使用规定，未扣除积分"
REQUEST_REFUSED: Final = "REQUEST_REFUSED", "服务商不接受这些参数，未扣除积分"
PROVIDER_UNAVAILABLE: Final = "PROVIDER_UNAVAILABLE", "服务商暂时不可用，未扣除积分"
NOT_STORED: Final = "NOT_STORED", "结果未能保存，未扣除积分"
CREATE_AMBIGUOUS: Final = "CREATE_AMBIGUOUS", "无法确认服务商是否已收到请求，未扣除积分"
INTERRUPTED: Final = "INTERRUPTED"
"""Why an attempt is put off whose worker was told to stop."""
BLAMED: Final[dict[Blame, Cause]] = {"user": REQUEST_REFUSED, "policy": CONTENT_REFUSED, "provider": FAILED}
