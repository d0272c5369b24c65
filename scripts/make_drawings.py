"""Make docs/towers.svg, docs/lrn.svg and docs/stages.svg, the drawings of docs/network.md.

python scripts/make_drawings.py

The numbers and orders in them come from recipes, so the same code gives the same bytes. A drawing brings its
background, light or dark as the reader's browser prefers.
"""

from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from alexnet_tk import zoo
from alexnet_tk.geometry import Network, convolutions, layers, map_sizes
from alexnet_tk.recipe import Recipe

DOCS = Path(__file__).parent.parent / "docs"

# The style of each class of shapes, on a light and on a dark background.
LIGHT = {
    "page": "fill: #ffffff; stroke: #d0d7de",
    "text": "fill: #1f2328",
    "dim": "fill: #59636e",
    "own": "stroke: #59636e",
    "both": "stroke: #8250df",
    "own-tip": "fill: #59636e",
    "both-tip": "fill: #8250df",
    "picture": "fill: #eaeef2; stroke: #59636e",
    "tower0": "fill: #b6d7ff; stroke: #0550ae",
    "tower1": "fill: #ffd8a8; stroke: #953800",
    "scores": "fill: #dfcffb; stroke: #6639ba",
    "empty": "fill: #f6f8fa; stroke: #afb8c1",
    "mark": "stroke: #cf222e; stroke-width: 2",
}
DARK = {
    "page": "fill: #0d1117; stroke: #3d444d",
    "text": "fill: #f0f6fc",
    "dim": "fill: #9198a1",
    "own": "stroke: #9198a1",
    "both": "stroke: #ab7df8",
    "own-tip": "fill: #9198a1",
    "both-tip": "fill: #ab7df8",
    "picture": "fill: #2a313c; stroke: #9198a1",
    "tower0": "fill: #17407a; stroke: #79c0ff",
    "tower1": "fill: #6b3a0a; stroke: #ffb77c",
    "scores": "fill: #43297c; stroke: #d2a8ff",
    "empty": "fill: #151b23; stroke: #3d444d",
    "mark": "stroke: #ff7b72; stroke-width: 2",
}
FONT = "-apple-system, 'Segoe UI', 'DejaVu Sans', Helvetica, Arial, sans-serif"


@dataclass
class Drawing:
    """An SVG picture."""

    width: int  # pixels
    height: int
    title: str
    parts: list[str] = field(default_factory=list)

    def text(
        self, x: float, y: float, words: str, look: str = "text", size: int = 14, at: str = "middle"
    ) -> None:
        """Words at a point of their baseline: its start, middle or end."""
        self.parts.append(
            f'<text class="{look}" x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{at}">{words}</text>'
        )

    def shape(self, look: str, *points: tuple[float, float]) -> None:
        """A closed shape."""
        corners = " ".join(f"{x:g},{y:g}" for x, y in points)
        self.parts.append(f'<polygon class="{look}" points="{corners}"/>')

    def box(self, look: str, x: float, y: float, width: float, height: float) -> None:
        """A rectangle, from its upper left corner."""
        self.shape(look, (x, y), (x + width, y), (x + width, y + height), (x, y + height))

    def line(self, look: str, *points: tuple[float, float], dashed: bool = False) -> None:
        """A line through the points."""
        through = " ".join(f"{x:g},{y:g}" for x, y in points)
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(f'<polyline class="{look}" fill="none" points="{through}"{dash}/>')

    def arrow(self, look: str, x1: float, y1: float, x2: float, y2: float) -> None:
        """A line with a tip at its end."""
        length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
        ux, uy = (x2 - x1) / length, (y2 - y1) / length
        bx, by = x2 - 9 * ux, y2 - 9 * uy
        self.line(look, (x1, y1), (bx, by))
        self.shape(f"{look}-tip", (x2, y2), (bx - 4 * uy, by + 4 * ux), (bx + 4 * uy, by - 4 * ux))

    def save(self, path: Path) -> None:
        """Write the file."""
        light = "".join(f".{name} {{ {style} }} " for name, style in LIGHT.items())
        dark = "".join(f".{name} {{ {style} }} " for name, style in DARK.items())
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" font-family="{FONT}" stroke-width="1.5" '
            'stroke-linejoin="round" role="img">',
            f"<title>{self.title}</title>",
            f"<style>text {{ stroke: none }} {light}@media (prefers-color-scheme: dark) {{ {dark}}}</style>",
            f'<rect class="page" x="1" y="1" width="{self.width - 2}" height="{self.height - 2}" rx="10"/>',
            *self.parts,
            "</svg>",
        ]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Maps:
    """A block of maps in a drawing, in pixels."""

    x: float  # of the middle of its front edge
    y: float
    depth: float  # along the page; stands for the number of maps
    side: float  # stands for their height and width
    flat: bool = False  # True: a column of units

    @property
    def skew(self) -> float:
        """The distance of the block's back from its front, to the right and upwards."""
        return 0.0 if self.flat else self.side * 0.28

    @property
    def into(self) -> tuple[float, float]:
        """Where an arrow to it ends."""
        return self.x - 3, self.y - self.skew / 2

    @property
    def out(self) -> tuple[float, float]:
        """Where an arrow from it begins."""
        return self.x + self.depth + self.skew + 3, self.y - self.skew / 2

    def draw(self, drawing: Drawing, look: str) -> None:
        """Draw the block's three visible faces."""
        x, y, s, d = self.x, self.y - self.side / 2, self.skew, self.depth
        drawing.box(look, x, y, d, self.side)
        if self.flat:
            return
        drawing.shape(look, (x, y), (x + s, y - s), (x + d + s, y - s), (x + d, y))
        bottom = y + self.side
        drawing.shape(look, (x + d, y), (x + d + s, y - s), (x + d + s, bottom - s), (x + d, bottom))


ROWS = (170, 350)  # the towers' middles
COLUMNS = {"c1": 168, "c2": 296, "c3": 432, "c4": 568, "c5": 704, "f6": 824, "f7": 900, "f8": 976}


def draw_towers(network: Network) -> Drawing:
    """The eight layers in two towers, with arrows for what each reads."""
    sizes, both = map_sizes(network), ("c3", "f6", "f7", "f8")
    sides = {"c1": "pool1", "c2": "pool2", "c3": "pool2", "c4": "pool2", "c5": "pool5"}
    middle = sum(ROWS) / 2
    drawing = Drawing(1060, 500, "The two towers of AlexNet, layer by layer")

    size = network.image_size
    photo = Maps(40, middle, 6, 112)
    photo.draw(drawing, "picture")
    drawing.text(62, 72, "picture", size=16)
    drawing.text(62, 452, f"3 × {size} × {size}", "dim", 12)

    blocks: dict[str, list[Maps]] = {"picture": [photo, photo]}
    for (name, key), channels in zip(sides.items(), network.channels, strict=True):
        maps, side = channels // network.towers, sizes[key]
        drawn = {27: 88, 13: 58, 6: 36}[side]
        flat = Maps(COLUMNS[name], 0, 12 + maps / 5, drawn)
        blocks[name] = [replace(flat, y=y + flat.skew / 2) for y in ROWS]
        centre = flat.x + (flat.depth + flat.skew) / 2
        drawing.text(centre, 72, name, size=16)
        drawing.text(centre, middle + 5, f"{maps} + {maps}", size=13)
        drawing.text(centre, 452, f"{side} × {side}", "dim", 12)
    for name, units in (("f6", network.hidden[0]), ("f7", network.hidden[1])):
        blocks[name] = [Maps(COLUMNS[name], y, 16, 120, flat=True) for y in ROWS]
        half = units // network.towers
        drawing.text(COLUMNS[name] + 8, 72, name, size=16)
        drawing.text(COLUMNS[name] + 8, middle + 5, f"{half}", size=13)
        drawing.text(COLUMNS[name] + 8, middle + 20, f"+ {half}", size=13)
    scores = Maps(COLUMNS["f8"], middle, 16, 150, flat=True)
    blocks["f8"] = [scores, scores]
    drawing.text(COLUMNS["f8"] + 8, 72, "f8", size=16)
    drawing.text(COLUMNS["f8"] + 8, middle + 96, "1,000", size=13)
    drawing.text(COLUMNS["f8"] + 8, middle + 112, "softmax", "dim", 12)

    _arrows(drawing, blocks, both)
    for name, pair in blocks.items():
        if name == "picture":
            continue
        for tower, block in enumerate(pair):
            look = "scores" if name == "f8" else f"tower{tower}"
            block.draw(drawing, look)

    drawing.text(112, ROWS[0] - 40, "tower 0", "dim", 13, "end")
    drawing.text(112, ROWS[1] + 62, "tower 1", "dim", 13, "end")
    after = {"c1": "pool, LRN", "c2": "pool, LRN", "c5": "pool"}
    for name, layer in convolutions(network).items():
        stride = f", stride {layer.stride}" if layer.stride > 1 else ""
        lines = [f"{layer.kernel} × {layer.kernel}{stride}", *([after[name]] if name in after else [])]
        block = blocks[name][0]
        for i, line in enumerate(lines):
            drawing.text(block.x + (block.depth + block.skew) / 2, 92 + 15 * i, line, "dim", 12)
    drawing.text(COLUMNS["f7"] + 8, 92, "fully connected", "dim", 12)

    drawing.arrow("own", 300, 479, 344, 479)
    drawing.text(352, 483, "reads its own tower", "dim", 13, "start")
    drawing.arrow("both", 560, 479, 604, 479)
    drawing.text(612, 483, "reads both towers", "dim", 13, "start")
    count = sum(layer.parameters for layer in layers(network, 1000).values())
    drawing.text(530, 36, f"A network in two towers: {count:,} weights and biases at 1,000 classes", size=17)
    return drawing


def _arrows(drawing: Drawing, blocks: dict[str, list[Maps]], both: tuple[str, ...]) -> None:
    """Draw an arrow from every layer to the one that reads it; two of them end at the single block of f8."""
    for before, name in pairwise(blocks):
        for tower in range(2):
            for other in range(2) if name in both and name != "f8" else [tower]:
                source, target = blocks[before][other], blocks[name][tower]
                x1, y1 = source.out
                x2, y2 = target.into
                if before == "picture":
                    y1 += 40 * (tower - 0.5)
                if name == "f8":
                    y2 += 100 * (tower - 0.5)
                # Two arrows that end at one block are drawn apart.
                drawing.arrow("both" if name in both else "own", x1, y1, x2, y2 + 12 * (other - tower))


CELL = 38  # pixels: a map's side and the gap to the next one


def draw_lrn(network: Network) -> Drawing:
    """The maps whose squares are summed: inside a tower, at its edge, and across towers as in Caffe."""
    drawing = Drawing(1060, 416, "The window of local response normalisation")
    half = network.lrn.size // 2
    edge = network.channels[0] // network.towers  # the first map of the second tower
    drawing.text(530, 36, "The values of one pixel in neighbouring maps, after c1", size=17)
    rows = [
        (20, 14, 20 + half, "map 20, inside its tower: five squares"),
        (edge - 2, edge - 7, edge - 1, f"map {edge - 2}, near its tower's edge: the sum stops there"),
        (edge - 2, edge - 7, edge - 2 + half, "the same with across_towers = true, as Caffe has it"),
    ]
    for number, (i, first, last, words) in enumerate(rows):
        y = 96 + 116 * number
        window = range(i - half, last + 1)
        drawing.text(36, y - 22, words, size=14, at="start")
        for index in range(first, first + 12):
            x = 36 + CELL * (index - first)
            tower = "tower0" if index < edge else "tower1"
            drawing.box(tower if index in window else "empty", x, y, CELL - 4, CELL - 4)
            drawing.text(x + CELL / 2 - 2, y + 22, str(index), "text" if index in window else "dim", 12)
        x, far = 36 + CELL * (i - first) + 2, CELL - 8
        drawing.line(
            "mark", (x, y + 2), (x + far, y + 2), (x + far, y + 2 + far), (x, y + 2 + far), (x, y + 2)
        )
        left = 36 + CELL * (window[0] - first) - 2
        right = 36 + CELL * (window[-1] + 1 - first) - 2
        drawing.line("mark", (left, y - 8), (left, y - 12), (right, y - 12), (right, y - 8))
        if first + 12 > edge:
            x = 36 + CELL * (edge - first) - 2
            drawing.line("own", (x, y - 16), (x, y + CELL + 20), dashed=True)
            drawing.text(x - 8, y + CELL + 16, "tower 0", "dim", 12, "end")
            drawing.text(x + 8, y + CELL + 16, "tower 1", "dim", 12, "start")
        _formula(drawing, 526, y + 21, i, list(window), network)
    return drawing


def _formula(drawing: Drawing, x: float, y: float, i: int, window: list[int], network: Network) -> None:
    """The formula with its numbers in one line."""
    sub = '<tspan dy="4" font-size="11">{}</tspan><tspan dy="-4">&#8203;</tspan>'
    squares = " + ".join(f"a{sub.format(index)}²" for index in window)
    lrn = network.lrn
    power = f'<tspan dy="-7" font-size="11">{lrn.beta}</tspan>'
    left = f"b{sub.format(i)} = a{sub.format(i)} / ({lrn.k:g} + 0.0001 ("
    drawing.text(x, y, f"{left}{squares})){power}", size=15, at="start")


STAGES = {"relu": "ReLU", "pool": "pool", "lrn": "LRN", "spatial": "within maps"}
STEP = 98  # pixels from one stage to the next


def draw_stages(networks: dict[str, Network]) -> Drawing:
    """What follows c1 and c2, in the order it is computed, a row for each network."""
    drawing = Drawing(1060, 76 + 72 * len(networks), "What follows c1 and c2 in four networks")
    drawing.text(530, 36, "What follows the first two layers", size=17)
    for number, (name, network) in enumerate(networks.items()):
        y = 68 + 72 * number
        drawing.text(24, y + 24, name, size=14, at="start")
        row = [("picture", "c1"), *(("tower0", STAGES[each]) for each in network.c1.then)]
        row += [("picture", "c2"), *(("tower1", STAGES[each]) for each in network.c2.then)]
        for place, (look, words) in enumerate(row):
            x = 172 + STEP * place
            drawing.box(look, x, y, STEP - 20, 38)
            drawing.text(x + STEP / 2 - 10, y + 24, words, size=12)
            if place:
                drawing.arrow("own", x - 20, y + 19, x - 2, y + 19)
    return drawing


def drawings() -> dict[str, Drawing]:
    """All drawings, by the names of their files."""
    networks = {
        "the paper's text": Recipe().override("network.order=lrn-pool").network,
        "run 145": zoo.recipe("krizhevsky-2012").network,
        "bvlc_alexnet": zoo.recipe("bvlc-alexnet").network,
        "alexnet-2012": Network(),
    }
    return {
        "towers": draw_towers(Network()),
        "lrn": draw_lrn(Network()),
        "stages": draw_stages(networks),
    }


def main() -> None:
    """Write them."""
    for name, drawing in drawings().items():
        drawing.save(DOCS / f"{name}.svg")


if __name__ == "__main__":
    main()
