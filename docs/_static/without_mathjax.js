// Loaded in MathJax's place where the site was built without it (no npm): formulas then stay as their TeX source.
