"Finite jobs: notebooks run by papermill in a process of their own, with a wall-clock limit. Never the live loop."
