"""What runs, what is kept, what people see."""
