"The live service: candles in, signals, messages and orders out; every lifetime and every deadline is owned here."
