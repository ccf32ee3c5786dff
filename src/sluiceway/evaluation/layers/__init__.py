"""What a network learned, layer by layer: from simple to abstract."""
