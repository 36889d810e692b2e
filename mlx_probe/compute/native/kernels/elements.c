/* Elements of weights. */
const int probe_elements_abi = 1;
