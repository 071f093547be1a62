"""The proof on a GPU: its kernels, their compiler and the driver by NVIDIA's bindings, and the backend over them."""
