#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/**
 * Runs of plain text in JSON strings, which is what large messages are made of: passed sixteen bytes at a time where
 * the processor can, eight elsewhere.
 */
namespace hal::jsonrpc {

namespace detail {

constexpr std::uint64_t every_byte(std::uint8_t value) {
  return 0x0101010101010101U * value;
}

/** The top bit of each byte that is zero; bits above the first may be wrong. */
inline std::uint64_t zero_bytes(std::uint64_t word) {
  return (word - every_byte(1)) & ~word & every_byte(0x80);
}

inline std::uint64_t load8(const char* at) {
  std::uint64_t word;
  std::memcpy(&word, at, sizeof word);
  return word;
}

}  // namespace detail

/** The first place from `at` on that may be a quote, a backslash, a control character or not ASCII, or a few bytes
 * before it; where fewer than a step's bytes are left, that place. */
inline const char* skip_plain_ascii(const char* at, const char* end) {
#ifdef __SSE2__
  const __m128i quote = _mm_set1_epi8('"');
  const __m128i backslash = _mm_set1_epi8('\\');
  const __m128i blank = _mm_set1_epi8(0x20);
  while (end - at >= 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    const __m128i quoting = _mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, backslash));
    // Compared as signed numbers, what is not ASCII is less than a blank too.
    const int special = _mm_movemask_epi8(_mm_or_si128(quoting, _mm_cmplt_epi8(bytes, blank)));
    if (special != 0) {
      return at + __builtin_ctz(static_cast<unsigned>(special));
    }
    at += 16;
  }
#endif
  while (end - at >= 8) {
    const std::uint64_t word = detail::load8(at);
    const std::uint64_t quoting =
        detail::zero_bytes(word ^ detail::every_byte('"')) | detail::zero_bytes(word ^ detail::every_byte('\\'));
    const std::uint64_t control = (word - detail::every_byte(0x20)) & ~word;
    if (((quoting | control | word) & detail::every_byte(0x80)) != 0) {
      return at;
    }
    at += 8;
  }
  return at;
}

/** The first quote or backslash from `at` on, or `end`. */
inline const char* find_quote_or_backslash(const char* at, const char* end) {
#ifdef __SSE2__
  const __m128i quote = _mm_set1_epi8('"');
  const __m128i backslash = _mm_set1_epi8('\\');
  while (end - at >= 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    const int found = _mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, backslash)));
    if (found != 0) {
      return at + __builtin_ctz(static_cast<unsigned>(found));
    }
    at += 16;
  }
#endif
  while (end - at >= 8) {
    const std::uint64_t word = detail::load8(at);
    if ((detail::zero_bytes(word ^ detail::every_byte('"')) | detail::zero_bytes(word ^ detail::every_byte('\\'))) !=
        0) {
      break;
    }
    at += 8;
  }
  while (at != end && *at != '"' && *at != '\\') {
    ++at;
  }
  return at;
}

}  // namespace hal::jsonrpc
