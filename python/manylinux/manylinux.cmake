# Lets kiln_python run where the C library is glibc 2.28 or later, though built where it is newer.
# Threads and dlopen, which glibc 2.34 moved into libc.so.6, are linked as they were before: against
# libraries of their old names that hold nothing but those symbols, found before the real one. The
# rest of what 2.28 lacks is in glibc_2_28.cpp. tests/python/test_wheel.py reads which versions the
# result asks for.
target_sources(kiln_python PRIVATE manylinux/glibc_2_28.cpp)
foreach(library libpthread.so.0 libdl.so.2)
  set(map ${CMAKE_CURRENT_SOURCE_DIR}/manylinux/${library}.map)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${map})
  file(READ ${map} text)
  # Every symbol of the map becomes a function.
  string(REGEX REPLACE ";" "" text "${text}")
  string(REGEX MATCHALL "    [a-z_]+" lines "${text}")
  set(source "// From ${library}.map: symbols to link against, never run.\n")
  foreach(line IN LISTS lines)
    string(REGEX MATCH "[a-z_]+" name "${line}")
    string(APPEND source "extern \"C\" void ${name}() {}\n")
  endforeach()
  string(REGEX REPLACE "\\..*" "" target kiln_glibc_${library})
  set(file ${CMAKE_CURRENT_BINARY_DIR}/${target}.cpp)
  file(CONFIGURE OUTPUT ${file} CONTENT "${source}")
  add_library(${target} SHARED ${file})
  set_target_properties(${target} PROPERTIES CXX_VISIBILITY_PRESET default NO_SONAME ON)
  target_compile_options(${target} PRIVATE -fno-builtin)
  target_link_options(${target} PRIVATE -nostdlib -Wl,--version-script=${map}
                                        -Wl,-soname,${library})
  target_link_libraries(kiln_python PRIVATE ${target})
endforeach()
