"""What a kernel costs: time on a GPU, and what the compiler made of it without one."""
