# Everything Kiln is built from. All of it is linked statically or is headers only, and hidden.
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(Boost REQUIRED)
find_path(KILN_SODIUM_INCLUDE sodium.h REQUIRED)
find_library(KILN_SODIUM libsodium.a REQUIRED)
find_library(KILN_BOOST_CONTEXT libboost_context.a REQUIRED)
find_path(KILN_XXHASH_INCLUDE xxhash.h REQUIRED)

add_library(kiln_dependencies INTERFACE)
target_include_directories(kiln_dependencies SYSTEM INTERFACE ${KILN_SODIUM_INCLUDE}
                           ${KILN_XXHASH_INCLUDE} ${Boost_INCLUDE_DIRS})
target_link_libraries(kiln_dependencies INTERFACE fmt::fmt-header-only nlohmann_json::nlohmann_json
                      ${KILN_SODIUM} ${KILN_BOOST_CONTEXT} Threads::Threads ${CMAKE_DL_LIBS})
