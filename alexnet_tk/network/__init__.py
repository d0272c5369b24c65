"""What is computed: the layers of AlexNet and its local response normalisation."""
