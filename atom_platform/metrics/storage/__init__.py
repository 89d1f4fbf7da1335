"""How metrics cross processes: the directory, the slots in it, and the scrape that reads them."""
