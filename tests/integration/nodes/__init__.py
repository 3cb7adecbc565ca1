"""What happens on a cluster of three nodes with addresses of their own, which all tests share."""
