"""Times ONNX Runtime on one thread, for `cargo tools bench`.

    python onnxruntime_peer.py float|int8 DIR

DIR holds model.onnx and images.f32, the normalised images one after the other. Answers with a line
of JSON: version and logits of every image. Then reads a number a line and answers with the
nanoseconds of so many inferences.
"""

import json
import os
import sys
import time

import numpy as np
import onnxruntime as ort


def load(path: str) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def quantize(source: str, target: str, images: list) -> None:
    """Static quantization with ONNX Runtime's own tool, prepared as its documentation asks."""
    import logging

    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType
    from onnxruntime.quantization import quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    logging.disable(logging.WARNING)

    class Images(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(images)

        def get_next(self):
            return next(self.left, None)

    prepared = target + ".prepared"
    quant_pre_process(source, prepared, skip_symbolic_shape=True)
    quantize_static(
        prepared,
        target,
        Images(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        # Unsigned activations and signed weights are what VPDPBUSD multiplies.
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )


def main() -> None:
    mode, directory = sys.argv[1:]
    # What libraries print must not stand between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    model = os.path.join(directory, "model.onnx")
    session = load(model)
    name, shape = session.get_inputs()[0].name, session.get_inputs()[0].shape
    images = np.fromfile(os.path.join(directory, "images.f32"), np.float32).reshape(-1, *shape)
    images = [{name: image} for image in images]
    if mode == "int8":
        quantized = os.path.join(directory, "int8.onnx")
        quantize(model, quantized, images)
        session = load(quantized)

    logits = [session.run(None, image)[0].ravel().tolist() for image in images]
    if not np.isfinite(logits).all():
        sys.exit("ONNX Runtime computes logits that are no numbers")
    print(json.dumps({"version": ort.__version__, "logits": logits}), file=answers, flush=True)

    # Buffers bound once: no array is made and no name looked up in what is timed.
    binding = session.io_binding()
    binding.bind_cpu_input(name, images[0][name])
    binding.bind_output(session.get_outputs()[0].name, "cpu")
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start = time.perf_counter_ns()
            session.run_with_iobinding(binding)
            times.append(time.perf_counter_ns() - start)
        print(json.dumps(times), file=answers, flush=True)


if __name__ == "__main__":
    main()
