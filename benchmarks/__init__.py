"How fast it is, side by side with what others would do. Run by `make bench`."
