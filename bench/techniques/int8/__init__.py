"""Convolutions and linear layers in 8-bit integers on x86 CPUs.

The model is exported to a graph in which every activation and weight is quantized and dequantized
again. Run eagerly, that graph only simulates integers, at twice the cost of fp32; ``torch.compile``
with freezing turns it into integer kernels. Sources: PyTorch 2 Export Quantization with the x86
Inductor backend (PyTorch tutorials); Jacob et al. (2018), arXiv:1712.05877.
"""
