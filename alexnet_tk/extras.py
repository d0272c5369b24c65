"""The packages that alexnet-tk uses, and the extra that installs each of them."""

# From a distribution's name to its extra; "" is part of every installation. Distributions that an extra
# installs have the name of their module, so a failed import can be looked up here.
PACKAGES = {
    "numpy": "",
    "pillow": "",
    "typer": "",
    "onnxruntime-gpu": "",
    "onnxruntime": "",
    "torch": "train",
    "onnx": "train",
    "onnxscript": "train",
    "tensorboard": "train",
    "matplotlib": "train",
    "pyarrow": "parquet",
    "ray": "ray",
    "scipy": "imagenet",
    "openvino": "openvino",
}


def install_command(package: str) -> str | None:
    """The `pip install` command for a package, or None if no extra installs it."""
    extra = PACKAGES.get(package)
    return f"pip install 'alexnet-tk[{extra}]'" if extra else None
