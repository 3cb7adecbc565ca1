"""What is computed: networks from images to logits, their loss, and one replica's gradient."""
