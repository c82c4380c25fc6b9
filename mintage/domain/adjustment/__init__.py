"""An adjustment of somebody's credits by finance: small ones at once, large ones by two persons."""
