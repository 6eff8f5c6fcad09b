"""What is written into the CMS."""
