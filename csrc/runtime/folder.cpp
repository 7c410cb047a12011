#include "folder.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "format.h"
#include "json.h"
#include "sha256.h"

namespace regkd {
namespace runtime {

namespace {

Status read_file(const std::string& path, std::string& bytes) {
    struct stat facts;
    if (stat(path.c_str(), &facts) == 0 && !S_ISREG(facts.st_mode))
        return Status(StatusCode::kNotFound, "'%s' is not an ordinary file.", path.c_str());
    std::FILE* file = std::fopen(path.c_str(), "rb");
    if (!file) return Status(StatusCode::kNotFound, "'%s' cannot be opened: %s.", path.c_str(), std::strerror(errno));
    char buffer[65536];
    size_t count;
    bytes.clear();
    while ((count = std::fread(buffer, 1, sizeof buffer, file)) > 0) bytes.append(buffer, count);
    const bool failed = std::ferror(file) != 0;
    std::fclose(file);
    if (failed) return Status(StatusCode::kNotFound, "'%s' cannot be read: %s.", path.c_str(), std::strerror(errno));
    return {};
}

}  // namespace

Status read_engine(const char* path, EngineFile& file) {
    struct stat facts;
    if (stat(path, &facts) != 0)
        return Status(StatusCode::kNotFound, "'%s' cannot be opened: %s.", path, std::strerror(errno));
    if (!S_ISDIR(facts.st_mode)) {
        const Status status = read_file(path, file.bytes);
        if (!status.ok()) return status;
        if (file.bytes.size() < sizeof kMagic || std::memcmp(file.bytes.data(), kMagic, sizeof kMagic) != 0)
            return Status(
                StatusCode::kCorrupt,
                "'%s' does not start as a native engine does. For TensorRT give the folder, with its manifest.", path);
        file.backend = "native";
        return {};
    }
    const std::string folder = path;
    std::string text;
    Status status = read_file(folder + "/manifest.json", text);
    if (!status.ok()) return status;
    std::map<std::string, std::string> manifest;
    if (!read_strings(text, manifest))
        return Status(StatusCode::kCorrupt, "'%s/manifest.json' is not a JSON object.", path);
    for (const char* key : {"backend", "engine", "engine_sha256"})
        if (manifest[key].empty()) return Status(StatusCode::kCorrupt, "'%s/manifest.json' lacks %s.", path, key);
    const std::string& name = manifest["engine"];
    if (name.find('/') != std::string::npos || name == "." || name == "..")
        return Status(StatusCode::kCorrupt,
                      "'%s/manifest.json' names the engine '%s', expected a file of its own folder.", path,
                      name.c_str());
    status = read_file(folder + "/" + name, file.bytes);
    if (!status.ok()) return status;
    const std::string met = sha256(file.bytes);
    if (met != manifest["engine_sha256"])
        return Status(StatusCode::kCorrupt,
                      "'%s/%s' is not the file that was built: its SHA-256 starts with %.12s, the manifest says %.12s.",
                      path, name.c_str(), met.c_str(), manifest["engine_sha256"].c_str());
    file.backend = manifest["backend"];
    return {};
}

}  // namespace runtime
}  // namespace regkd
