"""What is kept: the database, its tables, and every query that is made of it."""
