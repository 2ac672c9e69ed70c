"""The machine around the program: devices, memory, downloads and archives."""
