"""What a device trains. TensorFlow loads in the trial process only."""
