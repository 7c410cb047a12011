// regkd_edge._runtime: the native back end for Python. Arrays are checked, not converted: a wrong shape or type is an
// error, as with every other back end.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "regkd/engine.h"
#include "run/timing.h"

namespace py = pybind11;

namespace {

class Engine {
  public:
    Engine(const py::bytes& content, const char* level) {
        char* data = nullptr;
        Py_ssize_t size = 0;
        if (PyBytes_AsStringAndSize(content.ptr(), &data, &size) != 0) throw py::error_already_set();
        regkd::Options options;
        options.level = level;
        const regkd::Status status = regkd::Engine::load(data, static_cast<size_t>(size), engine_, options);
        if (!status.ok()) throw py::value_error(status.message());
        inputs_ = static_cast<py::ssize_t>(engine_.inputs());
        outputs_ = static_cast<py::ssize_t>(engine_.outputs());
    }

    py::array_t<float> infer(const py::handle& given) {
        // Exactly float32 and C-contiguous: anything else would be copied unseen.
        if (!py::array_t<float, py::array::c_style>::check_(given))
            throw py::value_error("the array is not a C-contiguous float32 array");
        const py::array_t<float> x = py::reinterpret_borrow<py::array_t<float>>(given);
        if (x.ndim() != 2 || x.shape(1) != inputs_) throw py::value_error("the array has another shape");
        const py::ssize_t shape[2] = {x.shape(0), outputs_};
        py::array_t<float> y({shape[0], shape[1]});
        const regkd::Status status = engine_.infer(x.data(), static_cast<size_t>(shape[0]), y.mutable_data());
        if (!status.ok()) throw py::value_error(status.message());
        return y;
    }

    // Nanoseconds of each of `samples` requests, by the loop of regkd-run: what an application in C++ waits for.
    std::pair<py::array_t<int64_t>, double> time(const py::array_t<float, py::array::c_style>& rows, size_t batch,
                                                 size_t samples, size_t warmup) {
        if (rows.ndim() != 2 || rows.shape(1) != inputs_ || rows.shape(0) < 1 || batch < 1)
            throw py::value_error("the array has another shape");
        const std::vector<float> x(rows.data(), rows.data() + rows.size());
        regkd::run::Timing timing;
        timing.batch = batch;
        timing.samples = samples;
        timing.warmup = warmup;
        regkd::Status status;
        {
            py::gil_scoped_release released;
            status = regkd::run::time_requests(engine_, x, timing);
        }
        if (!status.ok()) throw py::value_error(status.message());
        return {py::array_t<int64_t>(static_cast<py::ssize_t>(samples), timing.raw.data()), timing.overhead};
    }

    py::list names() const {
        py::list found;
        for (py::ssize_t i = 0; i < inputs_; ++i) found.append(py::str(engine_.input_name(static_cast<size_t>(i))));
        for (py::ssize_t i = 0; i < outputs_; ++i) found.append(py::str(engine_.output_name(static_cast<size_t>(i))));
        return found;
    }
    py::ssize_t inputs() const { return inputs_; }
    py::ssize_t outputs() const { return outputs_; }
    const char* level() const { return engine_.level(); }

  private:
    regkd::Engine engine_;
    py::ssize_t inputs_ = 0, outputs_ = 0;
};

}  // namespace

PYBIND11_MODULE(_runtime, m) {
    m.doc() =
        "The native back end of regkd-edge. Errors are ValueError; regkd_edge.engines.native turns them into the "
        "project's own.";
    py::class_<Engine>(m, "Engine")
        .def(py::init<const py::bytes&, const char*>(), py::arg("content"), py::arg("level") = nullptr)
        .def("infer", &Engine::infer, py::arg("x"), "x float32 [b, d] -> y float32 [b, o], raw units.")
        .def("time", &Engine::time, py::arg("rows"), py::arg("batch"), py::arg("samples"), py::arg("warmup"),
             "(int64 [samples] nanoseconds of each request in a loop in C++, the loop's own overhead).")
        .def("names", &Engine::names, "Names of the d inputs and the o outputs, empty where the file has none.")
        .def_property_readonly("inputs", &Engine::inputs)
        .def_property_readonly("outputs", &Engine::outputs)
        .def_property_readonly("level", &Engine::level, "The instruction set in use.");
}
