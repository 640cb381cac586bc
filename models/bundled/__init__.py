"""The ONNX models that ship with Thematica, each with its card."""
