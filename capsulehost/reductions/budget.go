package reductions

// maxTables is the most tables of a module: compilers make one or two.
const maxTables = 100
