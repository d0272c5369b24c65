"""Train the dual-tower AlexNet of 2012, export it to ONNX, classify pictures with ONNX Runtime.

Importing this package loads nothing heavy. The functions behind the commands:

- `alexnet_tk.training.train`            pictures and a recipe in, a checkpoint out
- `alexnet_tk.export.export`             a checkpoint in, a verified ONNX file out
- `alexnet_tk.inference.Classifier`      an ONNX file and pictures in, one record for each picture out
- `alexnet_tk.evaluation.evaluate`       models and pictures in class folders in, figures with intervals out
- `alexnet_tk.benchmarking.benchmark`    a model in, latency and pictures a second out
- `alexnet_tk.sample.write_pictures`     the built-in validation pictures as files
"""
