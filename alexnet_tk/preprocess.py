"""How a picture becomes a network's input: geometry and normalisation, with every number resolved."""

from dataclasses import dataclass, replace
from typing import Any, Self

from alexnet_tk.choices import ChannelOrder, Filter

RGB = tuple[float, float, float]  # one number per channel: red, green, blue


@dataclass(frozen=True)
class Square:
    """The geometry, in pixels: scale the shorter side to `resize`, then cut out the centre `crop`×`crop`."""

    resize: int
    crop: int
    filter: Filter

    @property
    def uncropped(self) -> "Square":
        """The scaled square before cropping, from which training and ten-crop evaluation take their crops."""
        return Square(self.resize, self.resize, self.filter)

    def centre(self, picture: Any) -> Any:
        """The crop, (crop, crop, …), of a scaled square, an array or a tensor (resize, resize, …); a view."""
        margin = (self.resize - self.crop) // 2
        return picture[margin : margin + self.crop, margin : margin + self.crop]


@dataclass(frozen=True)
class Preprocess(Square):
    """The geometry and the normalisation, (pixel - mean) / std; `mean` and `std` are on the scale 0..255."""

    channel_order: ChannelOrder  # of the network's input
    mean: RGB
    std: RGB
    # Whether the network subtracts the mean picture, too: what it has beyond `mean`.
    mean_picture: bool = False

    def with_crop(self, crop: int) -> Self:
        """The same preprocessing for a network with another input size."""
        return replace(self, crop=crop)
