/* Eigenvalues of symmetric matrices. */
const int probe_eigen_abi = 1;
