"""What a Service is: a candidate with its evidence, or one reason why it is none."""
