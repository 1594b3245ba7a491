package factoryapi

// DecodePage lets tests and benchmarks decode without a server around it.
var DecodePage = decodePage
