// Reading the operations whose values have places or steps: convolutions, their pooling, and recurrent units.
#pragma once

#include "cursor.h"
#include "program.h"

namespace regkd {
namespace runtime {

inline bool is_spatial(Kind kind) { return kind >= Kind::kChannelsLast; }

// The rest of such an operation behind its first four words, checked; `op` has kind, n_in, n_out and number.
Status read_spatial(Cursor& cursor, unsigned index, uint32_t detail, Operation& op);

// From the steps of weights to those of products, also of low parts; `op` has number, scale and low_codes.
Status finish_scales(unsigned index, Operation& op);

}  // namespace runtime
}  // namespace regkd
