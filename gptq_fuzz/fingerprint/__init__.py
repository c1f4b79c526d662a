"""How a kernel computes, found out from outside."""
