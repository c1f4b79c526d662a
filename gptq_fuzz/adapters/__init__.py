"""The kernels that come with the package, each as a Backend."""
