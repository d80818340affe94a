raise SystemExit("to do")
