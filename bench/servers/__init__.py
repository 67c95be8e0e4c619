"""What kfunc is measured against: small servers and scripts, each as fast as its kind honestly gets."""
