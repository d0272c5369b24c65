"""The network: the layers of AlexNet and its local response normalisation. Needs torch."""
