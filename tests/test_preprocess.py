"""A recipe's preprocessing, resolved to numbers."""

import pytest

from alexnet_tk import zoo
from alexnet_tk.preprocess import Preprocess, Square
from alexnet_tk.recipe import Recipe

MEAN = (11.0, 22.0, 33.0)


def test_the_papers_preprocessing_takes_the_training_sets_mean() -> None:
    expected = Preprocess(
        resize=256, crop=224, filter="bilinear", channel_order="RGB", mean=MEAN, std=(1.0, 1.0, 1.0)
    )
    assert Recipe().resolve(MEAN) == expected


@pytest.mark.parametrize(
    ("name", "order", "mean", "std"),
    [
        ("bvlc-alexnet", "BGR", (123.0, 117.0, 104.0), (1.0, 1.0, 1.0)),
        ("caffenet", "BGR", (123.0, 117.0, 104.0), (1.0, 1.0, 1.0)),
        ("torchvision-alexnet", "RGB", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    ],
)
def test_a_mean_in_the_recipe_is_not_replaced(
    name: str, order: str, mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    preprocess = zoo.recipe(name).resolve(MEAN)
    assert (preprocess.channel_order, preprocess.mean, preprocess.std) == (order, mean, std)
    assert (preprocess.resize, preprocess.crop) == (256, 224)


@pytest.mark.parametrize("name", zoo.names())
def test_the_square_is_that_of_the_resolved_preprocessing(name: str) -> None:
    recipe = zoo.recipe(name)
    preprocess = recipe.resolve(MEAN)
    assert recipe.square == Square(preprocess.resize, preprocess.crop, preprocess.filter)
    assert recipe.square.crop == recipe.network.image_size


def test_the_uncropped_square_is_the_whole_scaled_one() -> None:
    assert Square(256, 224, "bicubic").uncropped == Square(256, 256, "bicubic")
    assert Recipe().resolve(MEAN).uncropped == Square(256, 256, "bilinear")


def test_another_crop_keeps_all_else() -> None:
    preprocess = zoo.recipe("torchvision-alexnet").resolve(MEAN)
    other = preprocess.with_crop(200)
    assert other.crop == 200
    assert other.with_crop(224) == preprocess
