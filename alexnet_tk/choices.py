"""The closed lists of words that recipes, options and files accept, each defined once."""

from typing import Literal

# Recipes
Filter = Literal["nearest", "bilinear", "bicubic", "lanczos"]
ChannelOrder = Literal["RGB", "BGR"]  # of the network's input
# What follows a convolution: "spatial" normalises over neighbouring pixels, "lrn" over neighbouring maps.
Stage = Literal["relu", "pool", "lrn", "spatial"]
LrnConvention = Literal["paper", "divided"]  # "divided": alpha / size, as in Caffe and torch
Initialisation = Literal["paper", "he", "caffe", "authors"]
# Where the missing units of dropout are made up for: in training those that are left are multiplied, or in
# prediction all of them.
DropoutScale = Literal["training", "prediction"]
ClassWeights = Literal["equal", "balanced"]  # "balanced": every class counts as much as any other
# Of the biases' learning rate: the weights', or none.
BiasSchedule = Literal["same", "constant"]
Schedule = Literal["plateau", "steps", "cosine", "onecycle"]
TrainingPrecision = Literal["auto", "half", "fp32", "tf32", "bf16", "fp16"]

# train
Parallelism = Literal["data", "towers", "pipeline", "hybrid"]

# export
Precision = Literal["fp32", "fp16", "int8"]
LrnForm = Literal["native", "decomposed"]  # one LRN node per layer, or operators that every runtime has
InputKind = Literal["uint8", "float"]  # RGB pixels, or the normalised tensor that other tools expect

# predict and evaluate
Engine = Literal["local", "ray"]
Crops = Literal[1, 10]  # the centre crop, or the ten crops of the paper's evaluation
# Of float32: "fast" allows TF32 on CUDA and bfloat16 in OpenVINO, which multiply mantissas of 10 and 7 bits.
Math = Literal["exact", "fast"]
Arithmetic = Literal["exact", "tf32", "bf16"]  # what a device uses; "tf32" and "bf16" mean allowed

# features
FeatureType = Literal["float32", "float16"]  # of the numbers in a file

# similar
Metric = Literal["euclidean", "cosine"]  # of the distance between two pictures' features
