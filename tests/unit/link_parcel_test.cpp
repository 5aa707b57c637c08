#include "io/listener.hpp"
#include "link/parcel.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gtest/gtest.h>

namespace hal::link {
namespace {

ino_t file_of(int fd) {
  struct stat status {};
  EXPECT_EQ(::fstat(fd, &status), 0);
  return status.st_ino;
}

TEST(Parcel, any_number_of_descriptors_comes_out_in_order) {
  for (const std::size_t count : {0U, 1U, 253U, 254U, 700U}) {
    std::vector<UniqueFd> files;
    std::vector<int> numbers;
    for (std::size_t i = 0; i < count; ++i) {
      files.emplace_back(::memfd_create("", MFD_CLOEXEC));
      numbers.push_back(files.back().get());
    }
    const std::string text(count * 1000, 't');
    auto packed = pack(text, numbers);
    ASSERT_TRUE(packed.has_value()) << packed.error().message;
    const auto parcel = unpack(*std::move(packed));
    ASSERT_TRUE(parcel.has_value()) << parcel.error().message;
    EXPECT_EQ(parcel->text, text);
    ASSERT_EQ(parcel->descriptors.size(), count);
    for (std::size_t i = 0; i < count; ++i) {
      EXPECT_EQ(file_of(parcel->descriptors[i].get()), file_of(numbers[i]));
      EXPECT_NE(::fcntl(parcel->descriptors[i].get(), F_GETFD) & FD_CLOEXEC, 0);
    }
  }
}

TEST(Parcel, thrown_away_it_closes_what_is_in_it) {
  auto pair = std::move(*io::socket_pair(SOCK_STREAM));
  auto packed = pack("", {pair.theirs.get()});
  ASSERT_TRUE(packed.has_value());
  pair.theirs.reset();
  char byte = 0;
  EXPECT_EQ(::recv(pair.ours.get(), &byte, 1, 0), -1) << "the parcel has it";
  packed->reset();
  EXPECT_EQ(::recv(pair.ours.get(), &byte, 1, 0), 0);
}

TEST(Parcel, what_is_none_is_refused) {
  EXPECT_FALSE(unpack(UniqueFd(::open("/dev/null", O_RDWR | O_CLOEXEC))).has_value());
  auto pair = std::move(*io::socket_pair(SOCK_SEQPACKET));
  ASSERT_EQ(::send(pair.ours.get(), "x", 1, 0), 1);
  pair.ours.reset();
  EXPECT_FALSE(unpack(std::move(pair.theirs)).has_value());
  EXPECT_FALSE(pack(std::string(parcel_bytes + 1, 'x'), {}).has_value());
}

}  // namespace
}  // namespace hal::link
