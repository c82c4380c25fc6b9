"""What is for sale: which model serves a request, and what each parameter may be."""

import tomllib
from importlib.resources import files
from typing import Any

import msgspec
import pytest

from mintage.application.catalogue import Bounds, Catalogue, Model, Money, UnknownModel
from mintage.domain.fields import InvalidFields, Reason

MODEL = Model(
    provider="stability",
    name="xl",
    renderer="builtin",
    tasks=("text2img",),
    price=10,
    parameters={
        "width": Bounds(type="integer", min=64, max=2048, default=1024),
        "seed": Bounds(type="integer", min=0),
        "style": Bounds(type="string", choices=("oil", "photo")),
        "note": Bounds(type="string"),
        "strength": Bounds(type="number", min=0, max=1.5),
    },
)
OTHER = msgspec.structs.replace(MODEL, name="other", tasks=("text2img", "img2img"))
CATALOGUE = Catalogue(
    money=Money(credits_per_yuan=10, signup_bonus=100, referral_bonus_referrer=50, referral_bonus_newcomer=20),
    models=(MODEL, OTHER),
)


def test_the_first_model_that_can_do_the_task_serves_it() -> None:
    assert CATALOGUE.model("text2img", None, None) is MODEL
    assert CATALOGUE.model("img2img", None, None) is OTHER
    assert CATALOGUE.model("text2img", "stability", None) is MODEL


def test_a_model_can_be_named() -> None:
    assert CATALOGUE.model("text2img", None, "other") is OTHER
    assert CATALOGUE.model("text2img", "stability", "other") is OTHER


@pytest.mark.parametrize(
    ("provider", "name"), [("nobody", None), (None, "nothing"), ("nobody", "xl"), ("stability", "nothing")]
)
def test_what_nobody_sells_is_refused(provider: str | None, name: str | None) -> None:
    with pytest.raises(UnknownModel):
        CATALOGUE.model("text2img", provider, name)


def test_a_task_that_no_model_can_do_is_refused() -> None:
    with pytest.raises(UnknownModel):
        CATALOGUE.model("text2video", None, None)
    with pytest.raises(UnknownModel):
        CATALOGUE.model("img2img", None, "xl")


def test_what_is_not_given_has_its_default_if_there_is_one() -> None:
    assert MODEL.checked({}) == {"width": 1024}


def test_what_the_model_does_not_know_is_dropped() -> None:
    assert MODEL.checked({"width": 64, "colour": "blue"}) == {"width": 64}


def test_whatever_lies_within_the_limits_is_taken_as_it_is() -> None:
    given = {"width": 2048, "seed": 10**12, "style": "oil", "note": "", "strength": 0.7}
    assert MODEL.checked(given) == given


@pytest.mark.parametrize("value", [0, 0.0, 1, 0.30000000000000004, 1.5])
def test_a_number_may_have_decimals_and_stays_what_it_is(value: float) -> None:
    taken = MODEL.checked({"strength": value})["strength"]
    assert (taken, type(taken)) == (value, type(value))


BETWEEN = Reason("between", low=64, high=2048)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("width", 63, BETWEEN),
        ("width", 2049, BETWEEN),
        ("width", "64", Reason("type", expected="integer")),
        ("width", 64.0, Reason("type", expected="integer")),
        ("width", True, Reason("type", expected="integer")),
        ("width", None, Reason("type", expected="integer")),
        ("seed", -1, Reason("between", low=0)),
        ("seed", None, Reason("type", expected="integer")),
        ("style", "OIL", Reason("one_of", choices=("oil", "photo"))),
        ("style", 1, Reason("type", expected="string")),
        ("note", ["a"], Reason("type", expected="string")),
        ("strength", -0.1, Reason("between", low=0, high=1.5)),
        ("strength", 1.6, Reason("between", low=0, high=1.5)),
        ("strength", 10**400, Reason("between", low=0, high=1.5)),
        ("strength", "0.7", Reason("type", expected="number")),
        ("strength", True, Reason("type", expected="number")),
        ("strength", None, Reason("type", expected="number")),
        ("strength", float("nan"), Reason("type", expected="number")),
        ("strength", float("inf"), Reason("type", expected="number")),
    ],
)
def test_what_breaks_a_limit_is_named_with_its_reason(name: str, value: Any, reason: Reason) -> None:
    with pytest.raises(InvalidFields) as refused:
        MODEL.checked({name: value})
    assert refused.value.fields == {f"parameters.{name}": reason}


def test_everything_wrong_is_named_at_once() -> None:
    with pytest.raises(InvalidFields) as refused:
        MODEL.checked({"width": 1, "style": "none", "note": 1})
    assert list(refused.value.fields) == ["parameters.width", "parameters.style", "parameters.note"]


@pytest.mark.parametrize(
    ("name", "bounds", "reason"),
    [
        ("width", Bounds(type="integer", min=2, max=1), "min 2 is above max 1"),
        ("width", Bounds(type="number", min=float("nan"), max=1), "min nan is above max 1"),
        ("width", Bounds(type="integer", min=64, default=63), "the default 63 is not among"),
        ("width", Bounds(type="integer", max=64, default=65), "the default 65 is not among"),
        ("width", Bounds(type="integer", default=1.0), "the default 1.0 is not among"),
        ("style", Bounds(type="string", choices=("oil",), default="ink"), "the default 'ink' is not among"),
        ("style", Bounds(type="string", default=1), "the default 1 is not among"),
        *(
            ("count", bounds, "has to be an integer with a min of at least 1 and a max of at most 4")
            for bounds in (
                Bounds(type="number", min=1, max=4),
                Bounds(type="string"),
                Bounds(type="integer", min=1),
                Bounds(type="integer", max=4),
                Bounds(type="integer", min=0, max=4),
                Bounds(type="integer", min=1, max=5),
            )
        ),
    ],
)
def test_a_parameter_that_cannot_be_kept_to_is_refused(name: str, bounds: Bounds, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^models: stability/xl: parameters.{name}: {reason}"):
        Catalogue(money=CATALOGUE.money, models=(msgspec.structs.replace(MODEL, parameters={name: bounds}),))


def test_a_model_is_sold_once_for_each_task() -> None:
    other = msgspec.structs.replace(MODEL, tasks=("img2img",), price=11)
    Catalogue(money=CATALOGUE.money, models=(MODEL, other))
    with pytest.raises(ValueError, match=r"^models: stability/xl: text2img is there twice$"):
        Catalogue(money=CATALOGUE.money, models=(MODEL, other, MODEL))


def test_the_catalogue_that_comes_with_the_product_is_sound() -> None:
    catalogue = msgspec.convert(tomllib.loads(files("mintage").joinpath("catalogue.toml").read_text()), Catalogue)
    for model in catalogue.models:
        assert model.price > 0
        assert model.checked({}), "the defaults keep the model's own limits"
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"money": {}, "models": [], "discount": 1}, Catalogue)
