"`python -m runners` is `perps-kit`."

from runners.cli import main

if __name__ == "__main__":
    main()
