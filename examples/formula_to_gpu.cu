// One training step in CUDA C: for each line of the plan the kernel of the same name.
//
// Written to be read. Every element of a result has a thread of its own, and sums run in one
// order, without atomics, so a step gives the same bits every time. NaN stays NaN.
// Arrays are row after row: x[i * inputs + k] is feature k of row i. A single number (scale,
// learning_rate, loss) is an array of one element, since it lives on the GPU too.

#ifndef REAL
#define REAL float
#endif
typedef REAL real;
typedef long long index;  // NumPy's int64

extern "C" {

#ifndef __CUDACC__  // a C++ compiler: who calls a kernel sets these for each thread in turn
#define __global__
struct Place {
  unsigned x;
} blockIdx, blockDim, threadIdx;
#endif

__global__ void take_rows(const real* data, const index* rows, real* out, int n, int features) {
  int t = blockIdx.x * blockDim.x + threadIdx.x;
  if (t >= n * features) return;
  int i = t / features, j = t % features;
  out[t] = data[rows[i] * features + j];
}

__global__ void linear(const real* x, const real* weight, const real* bias, real* z,
                       int n, int inputs, int outputs) {
  int t = blockIdx.x * blockDim.x + threadIdx.x;
  if (t >= n * outputs) return;
  int i = t / outputs, j = t % outputs;
  real sum = 0;
  for (int k = 0; k < inputs; k++) sum += x[i * inputs + k] * weight[k * outputs + j];
  z[t] = sum + bias[j];
}

__global__ void relu(const real* z, real* a, int size) {
  int t = blockIdx.x * blockDim.x + threadIdx.x;
  if (t >= size) return;
  a[t] = z[t] < 0 ? 0 : z[t];  // NaN < 0 is false, so NaN stays
}

__global__ void half_squared_error(const real* z, const real* targets, const real* weight,
                                   const real* scale, real* loss, real* grad,
                                   int n, int outputs) {
  int t = blockIdx.x * blockDim.x + threadIdx.x;
  if (t >= n * outputs) return;
  grad[t] = (z[t] - targets[t]) * weight[t / outputs] * *scale;
  if (t > 0) return;
  real sum = 0;  // one thread adds up the loss
  for (int s = 0; s < n * outputs; s++) {
    real error = z[s] - targets[s];
    sum += error * error * weight[s / outputs];
  }
  *loss = sum * *scale / 2;
}

__global__ void linear_grad_input(const real* grad, const real* weight, real* out,
                                  int n, int inputs, int outputs) {
  int t = blockIdx.x * blockDim.x + threadIdx.x;
  if (t >= n * inputs) return;
  int i = t / inputs, k = t % inputs;
  real sum = 0;
  for (int j = 0; j < outputs; j++) sum += grad[i * outputs + j] * weight[k * outputs + j];
  out[t] = sum;
}

__global__ void linear_grad_weight(const real* x, const real* grad, real* out,
                                   int n, int inputs, int outputs) {
  int t = blockIdx.x * blockDim.x + threadIdx.x;
  if (t >= inputs * outputs) return;
  int k = t / outputs, j = t % outputs;
  real sum = 0;
  for (int i = 0; i < n; i++) sum += x[i * inputs + k] * grad[i * outputs + j];
  out[t] = sum;
}

__global__ void linear_grad_bias(const real* grad, real* out, int n, int outputs) {
  int j = blockIdx.x * blockDim.x + threadIdx.x;
  if (j >= outputs) return;
  real sum = 0;
  for (int i = 0; i < n; i++) sum += grad[i * outputs + j];
  out[j] = sum;
}

__global__ void relu_backward(const real* grad, const real* a, real* out, int size) {
  int t = blockIdx.x * blockDim.x + threadIdx.x;
  if (t >= size) return;
  out[t] = a[t] > 0 ? grad[t] : grad[t] * 0;  // a plain 0 would hide a NaN in grad
}

__global__ void sgd(const real* parameter, const real* grad, const real* learning_rate,
                    real* out, int size) {
  int t = blockIdx.x * blockDim.x + threadIdx.x;
  if (t >= size) return;
  out[t] = parameter[t] - grad[t] * *learning_rate;
}

}  // extern "C"
