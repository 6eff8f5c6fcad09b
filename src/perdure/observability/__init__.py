"""What can be seen of a worker while it works: figures that cost nothing until they are asked for, and their export."""
