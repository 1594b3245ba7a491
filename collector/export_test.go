package collector

// Age lets a test suspend a machine.
var Age = age
