"""The control plane over HTTP, with one page. Made for the loopback interface of one's own machine."""
