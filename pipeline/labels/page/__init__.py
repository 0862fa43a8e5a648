"""The page of `h2o labels report`: what is read, counted, drawn and chosen for it."""
