"""Any destination plugin of CloudQuery's, a program of its own, as a Warehouse."""
