// regkd_edge._core.StepTensors: one step of networks of the same shapes, called again and again from Python. What a
// call must check about its tensors is read here, by attribute name: neither torch nor its headers are known.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <vector>

#include "core/network.h"
#include "cpu/runtime.h"

namespace py = pybind11;
using namespace regkd;

namespace {

struct Names {
    PyObject *dtype, *device, *shape, *is_contiguous, *data_ptr;
};
const Names& names() {
    static const Names all = {PyUnicode_InternFromString("dtype"), PyUnicode_InternFromString("device"),
                              PyUnicode_InternFromString("shape"), PyUnicode_InternFromString("is_contiguous"),
                              PyUnicode_InternFromString("data_ptr")};
    return all;
}

py::object attribute(py::handle tensor, PyObject* name) {
    PyObject* value = PyObject_GetAttr(tensor.ptr(), name);
    if (!value) throw py::error_already_set();
    return py::reinterpret_steal<py::object>(value);
}
py::object answer(py::handle tensor, PyObject* method) {
    PyObject* value = PyObject_CallMethodNoArgs(tensor.ptr(), method);
    if (!value) throw py::error_already_set();
    return py::reinterpret_steal<py::object>(value);
}
bool equal(py::handle a, py::handle b) {
    const int same = PyObject_RichCompareBool(a.ptr(), b.ptr(), Py_EQ);
    if (same < 0) throw py::error_already_set();
    return same != 0;
}

struct StepTensors {
    py::tuple student, teacher;  // shapes of W_1, b_1, W_2, ...
    py::object dtype, device;
    int inputs, outputs;

    // The address of dense memory of this dtype and device, null for anything else.
    void* address(py::handle tensor) const {
        const Names& n = names();
        if (tensor.is_none()) return nullptr;
        if (attribute(tensor, n.dtype).ptr() != dtype.ptr() || !equal(attribute(tensor, n.device), device) ||
            answer(tensor, n.is_contiguous).ptr() != Py_True)
            return nullptr;
        return PyLong_AsVoidPtr(answer(tensor, n.data_ptr).ptr());
    }
    bool addresses(const py::list& tensors, const py::tuple& shapes, std::vector<const float*>& out) const {
        if (tensors.size() != shapes.size()) return false;
        out.reserve(shapes.size());
        for (size_t i = 0; i < shapes.size(); ++i) {
            const py::handle tensor = PyList_GET_ITEM(tensors.ptr(), static_cast<Py_ssize_t>(i));
            void* p = address(tensor);
            if (!p ||
                !equal(attribute(tensor, names().shape), PyTuple_GET_ITEM(shapes.ptr(), static_cast<Py_ssize_t>(i))))
                return false;
            out.push_back(static_cast<const float*>(p));
        }
        return true;
    }
    // [rows, columns], rows >= 1; -1: another shape.
    static int64_t rows_of(py::handle tensor, int columns) {
        const py::object shape = attribute(tensor, names().shape);
        if (!PyTuple_Check(shape.ptr()) || PyTuple_GET_SIZE(shape.ptr()) != 2) return -1;
        if (PyLong_AsLongLong(PyTuple_GET_ITEM(shape.ptr(), 1)) != columns) return -1;
        return PyLong_AsLongLong(PyTuple_GET_ITEM(shape.ptr(), 0));
    }

    // Whether the tensors are what the call needs; their addresses and the batch go into the job.
    bool place(Job& job, const py::list& ours, const py::list& theirs, py::handle x, py::handle y,
               std::vector<const float*>& student_at, std::vector<const float*>& teacher_at) const {
        if (!addresses(ours, student, student_at) || !addresses(theirs, teacher, teacher_at)) return false;
        const int64_t batch = rows_of(x, inputs);
        job.x = static_cast<const float*>(address(x));
        if (!job.x || batch < 1 || batch > INT32_MAX) return false;
        if (!y.is_none()) {
            job.y = static_cast<const float*>(address(y));
            if (!job.y || rows_of(y, outputs) != batch) return false;
        }
        job.rows = batch;
        job.batch = static_cast<int32_t>(batch);
        return true;
    }
    bool fit(const py::list& ours, const py::list& theirs, py::handle x, py::handle y) const {
        Job unused = {};
        std::vector<const float*> student_at, teacher_at;
        return place(unused, ours, theirs, x, y, student_at, teacher_at);
    }
    // gradient: one flat tensor, or a list with a tensor or None for each of `ours`; `add` says which are added to.
    bool run(const Job& job, const py::list& ours, const py::list& theirs, py::handle x, py::handle y, uint64_t seed,
             int64_t step, int64_t total, py::handle loss, py::handle terms, const py::object& gradient,
             const std::vector<bool>& add, int at_most) const {
        Job now = job;
        std::vector<const float*> student_at, teacher_at;
        if (!place(now, ours, theirs, x, y, student_at, teacher_at)) return false;
        now.shuffle = 0;
        now.seed = seed;
        now.first_step = step;
        now.total_steps = total;
        now.optimizer = kGradientOnly;
        double table[1 + kTerms];
        now.losses = table;
        std::vector<float*> into;
        std::vector<float> flat;
        if (py::isinstance<py::list>(gradient)) {
            const py::list parts(gradient);
            if (parts.size() != ours.size() || add.size() != ours.size()) return false;
            for (size_t i = 0; i < parts.size(); ++i) {
                const py::handle part = PyList_GET_ITEM(parts.ptr(), static_cast<Py_ssize_t>(i));
                into.push_back(part.is_none() ? nullptr : static_cast<float*>(address(part)));
                const py::handle shape = PyTuple_GET_ITEM(student.ptr(), static_cast<Py_ssize_t>(i));
                if (!part.is_none() && (!into[i] || !equal(attribute(part, names().shape), shape))) return false;
            }
            flat.resize(static_cast<size_t>(host::parameter_count(now.student)));
            now.grad = flat.data();
        } else {
            now.grad = static_cast<float*>(address(gradient));
        }
        float* total_loss = loss.is_none() ? nullptr : static_cast<float*>(address(loss));
        float* columns = static_cast<float*>(address(terms));
        if (!refusal(now).empty()) return false;
        {
            py::gil_scoped_release release;
            gradient_step(now, student_at, teacher_at, at_most);
            const float* from = flat.data();
            for (size_t i = 0; i < into.size(); ++i) {
                const int l = static_cast<int>(i / 2) + 1;
                const int64_t n = static_cast<int64_t>(now.student.widths[l]) * (i % 2 ? 1 : now.student.widths[l - 1]);
                float* to = into[i];
                for (int64_t k = 0; to && k < n; ++k) to[k] = add[i] ? to[k] + from[k] : from[k];
                from += n;
            }
        }
        if (total_loss) total_loss[0] = static_cast<float>(table[0]);
        for (int i = 0; i < 1 + kTerms; ++i) columns[i] = static_cast<float>(table[i]);
        return true;
    }
};

}  // namespace

void bind_step(py::module_& module) {
    py::class_<StepTensors>(module, "StepTensors", "What the tensors of a step must be, for many calls.")
        .def(py::init([](py::tuple student, py::tuple teacher, py::object dtype, py::object device) {
                 const auto entry = [](const py::object& shape, int i) {
                     return py::cast<int>(py::object(shape[py::int_(i)]));
                 };
                 const int inputs = entry(student[0], 1), outputs = entry(student[student.size() - 1], 0);
                 return StepTensors{
                     std::move(student), std::move(teacher), std::move(dtype), std::move(device), inputs, outputs};
             }),
             py::arg("student"), py::arg("teacher"), py::arg("dtype"), py::arg("device"),
             "student, teacher: the shapes of W_1, b_1, W_2, ...")
        .def("fit", &StepTensors::fit, py::arg("student"), py::arg("teacher"), py::arg("x"), py::arg("y"),
             "Whether all tensors are dense memory of the right dtype, device and shape. y may be None.")
        .def("step", &StepTensors::run, py::arg("job"), py::arg("student"), py::arg("teacher"), py::arg("x"),
             py::arg("y"), py::arg("seed"), py::arg("step"), py::arg("total"), py::arg("loss"), py::arg("terms"),
             py::arg("gradient"), py::arg("add"), py::arg("at_most"),
             "Writes loss [] (or None), terms [5] and the gradient of one step on the CPU. job: the networks' shapes, "
             "the "
             "objective, and quantities per row. gradient: one flat tensor, or a tensor or None for each of `student`, "
             "added to where `add` says so. False, and nothing is written: the tensors do not fit, or the core "
             "refuses the step.");
}
